"""Which images there are, and in which order: TFRecords, class folders, listings. Nothing is decoded."""
