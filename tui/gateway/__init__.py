"""The only code that talks to LiveKit: protobuf goes in, the model comes out, failures have names."""
