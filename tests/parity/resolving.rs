//! Name resolution: the same names give the same results on every kernel.

use crate::stage::{Seen, on_every_kernel};
use std::io::ErrorKind;

#[test]
fn names_resolve_in_the_same_way_on_every_kernel() {
    on_every_kernel(
        |stage| {
            let names = ["localhost", "localhost:7", "127.0.0.1", "127.0.0.1:7", "::1", "[::1]:7", "no\0name"];
            let ask = |name| match stage.dialler.resolve(name, 5) {
                // The number of addresses of `localhost` differs between machines, but all are loopback addresses.
                Ok(addresses) if addresses.iter().all(|address| address.ip().is_loopback()) => {
                    Seen::Moved(addresses[0].port().into())
                }
                Ok(addresses) => panic!("{name} has an address that is not a loopback address: {addresses:?}"),
                Err(failure) => {
                    assert_eq!(failure.name, name);
                    Seen::Failed(ErrorKind::Other)
                }
            };
            let mut seen: Vec<Seen> = names.into_iter().map(ask).collect();
            seen.push(stage.dialler.quiet());
            seen
        },
        &[
            Seen::Moved(5),
            Seen::Moved(7),
            Seen::Moved(5),
            Seen::Moved(7),
            Seen::Moved(5),
            Seen::Moved(7),
            Seen::Failed(ErrorKind::Other),
            Seen::Quiet,
        ],
    );
}
