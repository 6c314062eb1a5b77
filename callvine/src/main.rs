//! The `callvine` program; everything is in the library so that the tests can build it too.

/// Half the time of the system's allocator, with threads that free what others have allocated: a call's memory is
/// handed from its connection to the intake and on to the relay.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    callvine::main()
}
