"""Chest X-ray data sets: findings and policies, CheXpert-shaped folders, NIH, the phantom, the packed cache."""
