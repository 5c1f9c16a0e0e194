"""How are jobs compared with one another? As a study: arms, seeds, and what they show."""
