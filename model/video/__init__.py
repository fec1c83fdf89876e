"""The session on one video and the state it keeps, one owner for each."""
