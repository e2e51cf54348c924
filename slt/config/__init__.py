"""Typed parameters: one frozen dataclass per section of ``params.yaml``, split by the stages that read them."""
