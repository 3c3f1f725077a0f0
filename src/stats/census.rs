//! The number of connections by state and type.

use crate::peer::{ConnectionState, ConnectionType};

/// The number of connections by state and by type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Indexed by the type, then by the state.
    counts: [[usize; ConnectionState::ALL.len()]; ConnectionType::ALL.len()],
}

impl Census {
    /// Returns the number of connections of one type in one state.
    pub const fn count(&self, connection_type: ConnectionType, state: ConnectionState) -> usize {
        self.counts[connection_type as usize][state as usize]
    }

    /// Returns the number of connections of one type in all states.
    pub fn of_type(&self, connection_type: ConnectionType) -> usize {
        self.counts[connection_type as usize].iter().sum()
    }

    /// Returns the number of connections of all types in one state.
    pub fn in_state(&self, state: ConnectionState) -> usize {
        self.counts.iter().map(|of_type| of_type[state as usize]).sum()
    }

    /// Counts a new connection.
    pub(crate) const fn add(&mut self, connection_type: ConnectionType, state: ConnectionState) {
        self.counts[connection_type as usize][state as usize] += 1;
    }

    /// Moves a connection to another state.
    pub(crate) const fn moved(&mut self, kind: ConnectionType, from: ConnectionState, to: ConnectionState) {
        self.remove(kind, from);
        self.add(kind, to);
    }

    /// Removes a connection that was closed in `state`.
    pub(crate) const fn remove(&mut self, connection_type: ConnectionType, state: ConnectionState) {
        self.counts[connection_type as usize][state as usize] -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_connection_is_counted_in_its_current_state() {
        let mut census = Census::default();
        for (place, connection_type) in ConnectionType::ALL.into_iter().enumerate() {
            assert_eq!(connection_type as usize, place);
            for (place, state) in ConnectionState::ALL.into_iter().enumerate() {
                assert_eq!(state as usize, place);
                census.add(connection_type, state);
            }
        }
        use ConnectionState::{Connected, Connecting};
        census.moved(ConnectionType::Outbound, Connecting, Connected);
        census.remove(ConnectionType::Inbound, Connected);
        assert_eq!(census.count(ConnectionType::Outbound, Connected), 2);
        assert_eq!((census.in_state(Connecting), census.in_state(Connected)), (2, 3));
        assert_eq!(ConnectionType::ALL.map(|connection_type| census.of_type(connection_type)), [6, 5, 6]);
    }
}
