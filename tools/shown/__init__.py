"""The pictures that tools/pictures.py makes: of the two pages, and of clips before and after."""
