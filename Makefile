# The commands of a contributor; CONTRIBUTING.md says more.
.PHONY: build demo openapi test chaos soak fuzz dist bench bench-fetch bench-analysis accuracy instructions lint deny

# The directory to which Cargo builds.
target := $(or $(CARGO_TARGET_DIR),target)

# Builds the program in the tests' profile. With the whole workspace selected, Cargo gives each dependency the features
# that `make test` gives it, so neither compiles the other's again.
build:
	cargo build --locked --workspace --bin callvine

# Posts calls whose recordings the program itself serves, and shows the outcome of each.
demo: build
	$(target)/debug/callvine demo

# Makes docs/openapi.json, which the program serves, from docs/openapi.yaml. `make test` compares the two.
openapi:
	tests/setup.sh
	$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/callvine-tests/schemathesis/bin/python tests/openapi/to_json.py

# Every test, on a PostgreSQL and a RabbitMQ of its own; tests/setup.sh installs what is missing.
test:
	tests/setup.sh
	docker-compose --env-file .env.example --file docker-compose.yml config --quiet
	cargo test --workspace --locked --no-fail-fast

# Repeats the faults of `make test` for longer: 50 kills of each process, then random faults on both engines, for
# MINUTES in all. Every test prints its seed; SEED=… makes the same decisions again. The report at the end stays in
# target/chaos-report.txt; docs/reliability.md says more.
MINUTES ?= 10
chaos:
	tests/setup.sh
	cargo test --package callvine-tests --locked --test chaos --no-run
	rm -f $(target)/chaos-report.txt $(target)/chaos-report.txt.totals
	@began=$$(date +%s); \
		CALLVINE_CHAOS_REPORT=$(abspath $(target))/chaos-report.txt CALLVINE_CHAOS_MINUTES=$(MINUTES) \
		$(if $(SEED),CALLVINE_CHAOS_SEED=$(SEED)) \
		cargo test --package callvine-tests --locked --test chaos -- --nocapture --test-threads=2; \
		status=$$?; \
		cd $(target) && { \
			printf '\nBoth engines, in %s seconds, %s:\n\n' $$(($$(date +%s) - began)) \
				"$$(test $$status = 0 && echo passed || echo FAILED)"; \
			cat chaos-report.txt.totals; \
		} >> chaos-report.txt; \
		echo; cat chaos-report.txt; exit $$status

# Fetches RECORDINGS recordings from hosts that fail one request in five in every way, on both engines: each ends
# stored, or dead with the right reason. Then keeps one of 512 MiB, the largest allowed, in an S3-compatible store. `make test`
# does the same with 300, and with 41 MiB.
RECORDINGS ?= 5000
soak:
	tests/setup.sh
	CALLVINE_SOAK_RECORDINGS=$(RECORDINGS) CALLVINE_SOAK_LARGEST=512 \
		cargo test --package callvine-tests --locked --test end_to_end -- soak largest --nocapture --test-threads=1

# Feeds hostile bytes to every parser of outside input, MINUTES each; an input that breaks one is kept in
# fuzz/artifacts. Needs a nightly compiler and cargo-fuzz (`cargo install cargo-fuzz --locked`). The tables of a Vorbis header
# may take gigabytes, which a cell refuses in production; the limit of memory is above what a fair file takes with the sanitizer.
fuzz:
	for target in request url_guard unpack digest wav amr mp4 ogg flac matroska mp3 aac aiff event; do \
		mkdir -p fuzz/corpus/$$target; \
		cargo +nightly fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$$((60 * $(MINUTES))) -max_len=65536 -timeout=10 -rss_limit_mb=4096 \
			-verbosity=0 -print_final_stats=1 || exit 1; \
	done

# Builds target/shipped/callvine, the program as it is deployed, without its line tables. These are in callvine.debug
# beside it: `addr2line --exe callvine.debug ADDRESS` reads them, and so does a backtrace where both files are in one
# directory.
dist:
	cargo build --profile dist --locked --package callvine
	mkdir -p $(target)/shipped
	objcopy --only-keep-debug $(target)/dist/callvine $(target)/shipped/callvine.debug
	objcopy --strip-debug --add-gnu-debuglink=$(target)/shipped/callvine.debug \
		$(target)/dist/callvine $(target)/shipped/callvine

# Measures Callvine against its ceilings, the naive gateway and PHP, on servers of its own; writes a report to
# target/bench. Everything takes over two hours of an idle machine, and 40 GB of disk. ARGS="--help" says how to measure a
# part, and ARGS="--against FILE" compares two builds. docs/performance.md keeps the figures that matter.
bench:
	tests/setup.sh
	cargo build --profile dist --locked --package callvine
	cargo build --release --locked --package callvine-bench
	CALLVINE_BIN=$(target)/dist/callvine $(target)/release/callvine-bench $(ARGS)

# Measures the worker against `curl --parallel`, both fetching recordings of 1 MB from one nginx, for some minutes; then its
# memory with 64 recordings of 200 MB at once, which take 13 GB of disk.
bench-fetch:
	$(MAKE) bench ARGS="--scenario fetch $(ARGS)"

# Measures the analysis: an hour of a call on two channels of A-law, made of prompts in turn with line noise. Counts processor
# time, so that other work on the machine matters little. docs/analysis.md keeps the figures.
bench-analysis:
	tests/setup.sh
	cargo build --release --locked --package callvine-audio --example analyse
	shared/audio/tools/hour.sh $(target)/hour.wav
	$(target)/release/examples/analyse --bench --decode-only $(target)/hour.wav
	$(target)/release/examples/analyse --bench $(target)/hour.wav
	$(target)/release/examples/analyse --bench --thorough $(target)/hour.wav

# Measures how right the analysis is, on recordings, prompts, hold music and sounds that are made; prints the figures of
# docs/analysis.md and fails beyond their tolerances.
accuracy:
	tests/setup.sh
	cargo test --locked --package callvine-audio --lib signal -- --nocapture

# Counts the instructions that a call costs from its body to its answer; fails above the bound.
instructions:
	tests/setup.sh
	cargo build --release --locked --package callvine-instructions
	$(target)/release/callvine-instructions

# Checks formatting, clippy and documentation, with warnings as errors.
lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --locked --no-deps --document-private-items

# Checks licences and sources of the dependencies. Not part of `lint`: it needs cargo-deny (`cargo install cargo-deny --locked`),
# whose build takes longer than all the rest. The list of banned crates is checked by `make test` too.
deny:
	cargo deny --locked check bans licenses sources
