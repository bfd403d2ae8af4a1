"""What speaks of the papers: their claims, and how the book shows numbers, figures and widgets."""
