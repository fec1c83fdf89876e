"""What fine-tuning brings on a domain that the packaged weights have not seen."""
