"""Generator, discriminator and their losses; requires torch only."""
