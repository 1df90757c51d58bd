"""What tools/pictures.py takes pictures of."""
