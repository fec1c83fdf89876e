"""Still images: ask about one, find everything in it, and follow what was found."""
