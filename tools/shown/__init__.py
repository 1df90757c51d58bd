"""Makes the pictures of tools/pictures.py: of the two pages, and of clips before and after."""
