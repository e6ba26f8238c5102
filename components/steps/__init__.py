"""One file a step: one public function and its own configuration class."""
