"""A street made of textured rectangles, drawn as by day and as by its own lamps."""
