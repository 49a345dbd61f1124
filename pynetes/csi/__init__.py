"""Container storage: a CSI driver for a machine's own disk (local/), and any driver's control side (controller/)."""
