"""Guards, status codes and headers of every route."""
