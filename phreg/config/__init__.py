"""What a user writes, as pydantic models, checked before anything starts. Unknown keys are refused."""
