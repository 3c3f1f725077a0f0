//! The command-line program.
use peerloop::*;
struct R;
impl Handler for R {
    type Command = ();
}
fn main() {
    let mut c = Config::new(Network::Regtest);
    c.max_inbound = 19000;
    let mut r = Reactor::new(c, R).unwrap();
    let a = std::env::args().nth(1).unwrap();
    r.listen(a.parse().unwrap()).unwrap();
    r.run().unwrap();
}
