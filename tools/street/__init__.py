"""Renders a street of textured rectangles, evenly lit and lit by its lamps at night."""
