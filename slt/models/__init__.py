"""The models: sign encoder, bridge, text decoder, and the one class that joins them."""
