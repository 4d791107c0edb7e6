"""One server for recordings, pictures and ink: a page for people, and HTTP for programs (extra `web`)."""
