"""openEO: two single-file UDFs, their archives, the process graph, and its execution on this machine."""
