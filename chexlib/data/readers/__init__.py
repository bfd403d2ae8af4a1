"""What a data set's files list: one file a format, each with read(root, **options), which gives a Listing."""
