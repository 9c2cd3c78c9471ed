"""What runs on openEO: two single-file UDFs, archives, the process graph, and the same graph on this machine."""
