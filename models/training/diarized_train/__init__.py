"""Training, evaluation and export of the voice models that ``diarized`` runs."""
