PICTURES = (  # suffixes of what is read as pictures
    *(".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".avif", ".pdf"),
)
