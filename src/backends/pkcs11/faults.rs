//! What the errors of a module mean.

use cryptoki::error::{Error, RvError};

use super::super::remote::RemoteError;

/// What the service was doing, for errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Load,
    Initialize,
    ListTokens,
    OpenSession,
    LogIn,
    FindKey,
    Sign,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Load => "loading the PKCS #11 module",
            Self::Initialize => "starting the PKCS #11 module",
            Self::ListTokens => "looking for the token",
            Self::OpenSession => "opening a session with the token",
            Self::LogIn => "logging in to the token",
            Self::FindKey => "looking for the key on the token",
            Self::Sign => "signing with the token",
        }
    }

    /// Part of making a signature: another session is opened for it where all are in use.
    fn signs(self) -> bool {
        matches!(self, Self::ListTokens | Self::OpenSession | Self::Sign)
    }
}

/// An error of the module with what is to be done about it. The module's own words are its codes alone: nothing of what
/// it was given is repeated.
pub(super) fn meaning(step: Step, error: &Error) -> RemoteError {
    let Error::Pkcs11(code, function) = error else {
        return RemoteError::Failed(unusable(step, error));
    };
    // CKR_PIN_INCORRECT is called `PinIncorrect`.
    let named = format!("{}: C_{function:?} said {code:?}", step.name());
    match code {
        RvError::PinIncorrect
        | RvError::PinInvalid
        | RvError::PinLenRange
        | RvError::PinExpired
        | RvError::PinLocked => RemoteError::Failed(format!("{named}: {}", pin_remedy(*code))),
        // The token is gone, or was, or does not know the session any more: another session may do.
        RvError::TokenNotPresent
        | RvError::TokenNotRecognized
        | RvError::SlotIdInvalid
        | RvError::DeviceRemoved
        | RvError::DeviceError
        | RvError::GeneralError
        | RvError::SessionHandleInvalid
        | RvError::SessionClosed
        | RvError::UserNotLoggedIn
        | RvError::KeyHandleInvalid
        | RvError::ObjectHandleInvalid
        | RvError::CryptokiNotInitialized => RemoteError::Ended(named),
        RvError::SessionCount => RemoteError::Unavailable(format!(
            "{named}: the token has no session left: lower concurrency, or let others use fewer"
        )),
        RvError::FunctionFailed
        | RvError::FunctionCanceled
        | RvError::HostMemory
        | RvError::DeviceMemory
        | RvError::OperationActive => RemoteError::Unavailable(named),
        RvError::MechanismInvalid | RvError::MechanismParamInvalid | RvError::CurveNotSupported => {
            RemoteError::Failed(format!("{named}: the token does not do the configured algorithm"))
        }
        RvError::KeyFunctionNotPermitted | RvError::KeyTypeInconsistent => RemoteError::Failed(format!(
            "{named}: the key is not for this: make one that may sign by the configured algorithm"
        )),
        RvError::UserPinNotInitialized => RemoteError::Failed(format!(
            "{named}: the token has no user PIN yet: set one as its security officer"
        )),
        RvError::UserAnotherAlreadyLoggedIn => RemoteError::Failed(format!(
            "{named}: somebody else is logged in through this module, such as the security officer"
        )),
        // Nothing says that it is about this one request. A maker's code for what only another session mends has to
        // count, or the key is never opened again.
        RvError::VendorDefined(_) | RvError::UnknownErrorCode(_) if step.signs() => {
            RemoteError::Unavailable(named)
        }
        _ => RemoteError::Failed(named),
    }
}

/// Errors that are none of the module's codes.
fn unusable(step: Step, error: &Error) -> String {
    let reason = match error {
        // The loader's own words name the library and what it lacks.
        Error::LibraryLoading(error) => return format!("{}: {error}", step.name()),
        Error::MissingSymbol(_) | Error::NullFunctionPointer => {
            "it is no PKCS #11 module, or lacks a function"
        }
        _ => "it answered with something that cannot be read",
    };
    format!("{}: {reason}", step.name())
}

fn pin_remedy(code: RvError) -> &'static str {
    match code {
        RvError::PinLocked => {
            "the PIN is locked after too many wrong ones: let the security officer set it anew"
        }
        RvError::PinExpired => "the PIN has expired: change it on the token and in the configuration",
        _ => "the PIN is wrong, and is not tried again until it has changed or the service has started anew",
    }
}

/// True unless the token cannot have counted what `C_Login` was given as a wrong PIN: where it may have, to try it again
/// may bring the token closer to locking itself. Modules answer wrong PINs with all kinds of codes, their makers' among
/// them, so the few that tell of no token, no session or no PIN to compare with are listed, and no others.
pub(super) fn may_have_counted(error: &Error) -> bool {
    !matches!(
        error,
        Error::Pkcs11(
            RvError::CryptokiNotInitialized
                | RvError::TokenNotPresent
                | RvError::DeviceRemoved
                | RvError::SessionHandleInvalid
                | RvError::SessionClosed
                | RvError::UserAlreadyLoggedIn
                | RvError::UserAnotherAlreadyLoggedIn
                | RvError::UserPinNotInitialized,
            _
        )
    )
}

#[cfg(test)]
mod tests {
    use cryptoki::context::Function;

    use super::*;

    #[test]
    fn codes_mean_what_the_service_then_does() {
        let mean = |code| meaning(Step::Sign, &Error::Pkcs11(code, Function::Sign));
        for code in [
            RvError::TokenNotPresent,
            RvError::DeviceRemoved,
            RvError::SessionHandleInvalid,
            RvError::UserNotLoggedIn,
            RvError::KeyHandleInvalid,
            RvError::CryptokiNotInitialized,
        ] {
            assert!(matches!(mean(code), RemoteError::Ended(_)), "{code:?}");
        }
        for code in [
            RvError::SessionCount,
            RvError::FunctionFailed,
            RvError::HostMemory,
            RvError::VendorDefined(0x8000_0001),
            RvError::UnknownErrorCode(0x7fff_0001),
        ] {
            assert!(matches!(mean(code), RemoteError::Unavailable(_)), "{code:?}");
        }
        for code in [
            RvError::PinIncorrect,
            RvError::PinLocked,
            RvError::MechanismInvalid,
            RvError::KeyFunctionNotPermitted,
            RvError::DataLenRange,
        ] {
            assert!(matches!(mean(code), RemoteError::Failed(_)), "{code:?}");
        }
    }

    #[test]
    fn errors_name_the_step_the_code_and_the_remedy() {
        let error = Error::Pkcs11(RvError::PinIncorrect, Function::Login);
        assert!(may_have_counted(&error));
        let RemoteError::Failed(text) = meaning(Step::LogIn, &error) else {
            panic!("a wrong PIN does not pass by itself")
        };
        assert!(text.starts_with("logging in to the token: "), "{text}");
        assert!(
            text.contains("PinIncorrect") && text.contains("not tried again"),
            "{text}"
        );
    }
}
