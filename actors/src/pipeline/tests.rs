//! The flow with fakes of every port.
