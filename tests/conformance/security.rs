//! Authentication, authorization and encryption: none of it is there yet.

use crate::case::{Case, How, REKT_AUTHZ, REKT_OIDC, REKT_TLS, SPECIFICATION};

const IDENTITY: &str = "Weft doesn't check who sends yet";
const POLICY: &str = "EventPolicy isn't acted on yet";
const ENCRYPTION: &str = "Weft listens for plain HTTP only so far";

pub(crate) fn cases() -> Vec<Case> {
    let case = |suite, upstream, test, why| Case {
        area: "Security",
        suite,
        upstream,
        test,
        how: How::Later(why),
    };
    vec![
        case(
            REKT_OIDC,
            "Broker populates its .status.address.audience correctly",
            "security::audience_is_published",
            IDENTITY,
        ),
        case(
            REKT_OIDC,
            "Broker reject event for wrong OIDC audience",
            "security::wrong_audience_is_401",
            IDENTITY,
        ),
        case(
            REKT_OIDC,
            "Broker reject event with expired OIDC token",
            "security::expired_token_is_401",
            IDENTITY,
        ),
        case(
            REKT_OIDC,
            "Broker reject event with corrupted OIDC token signature",
            "security::corrupted_signature_is_401",
            IDENTITY,
        ),
        case(
            REKT_OIDC,
            "Broker handles event with valid OIDC token",
            "security::valid_token_is_202",
            IDENTITY,
        ),
        case(
            REKT_AUTHZ,
            "Broker accepts authorized request",
            "security::authorized_is_202",
            POLICY,
        ),
        case(
            REKT_AUTHZ,
            "Broker rejects unauthorized request",
            "security::unauthorized_is_403",
            POLICY,
        ),
        case(
            REKT_AUTHZ,
            "Broker only admits events that pass the event policy filter",
            "security::policy_filters_are_respected",
            POLICY,
        ),
        case(
            REKT_AUTHZ,
            "Broker becomes NotReady when EventPolicy is NotReady",
            "security::an_unready_policy_makes_the_broker_unready",
            POLICY,
        ),
        case(
            REKT_TLS,
            "Rotate MTChannelBroker TLS certificate",
            "security::certificates_are_rotated",
            ENCRYPTION,
        ),
        case(
            SPECIFICATION,
            "Strict transport encryption: plain HTTP answers 404",
            "security::strict_encryption",
            ENCRYPTION,
        ),
        case(
            SPECIFICATION,
            "Permissive transport encryption: HTTP and HTTPS both take events",
            "security::permissive_encryption",
            ENCRYPTION,
        ),
    ]
}
