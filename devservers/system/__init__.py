"""The operating system: processes, sockets, files, HTTP on this machine."""
