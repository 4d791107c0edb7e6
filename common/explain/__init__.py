"""How a network has come to what it reads, for teaching: `asr explain`, `hwr explain`."""
