"""The demo corpus: an avatar signs short weather reports, as video, annotation and a monolingual dump."""
