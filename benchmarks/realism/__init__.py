"""Does a simulated scene look like a real cube, and is it as hard to fill?"""
