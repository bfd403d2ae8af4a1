"""Chest X-ray data sets: findings and policies, CheXpert-shaped folders, NIH ChestX-ray14, the phantom, the packed cache."""
