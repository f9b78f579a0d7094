.PHONY: build
TARGET ?= $(shell uname -m)-unknown-linux-gnu
CARGO_TARGET_DIR ?= target/cargo
build:
	RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --profile dist --target $(TARGET)
