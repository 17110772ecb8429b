"""What one wing tells the others: the names of the facts in the log."""

from __future__ import annotations

from enum import StrEnum


class EventType(StrEnum):
    """Each name is a fact in the past tense, never a command."""

    PARTNER_REGISTERED = "partner-registered"
    PARTNER_ENDPOINT_CHANGED = "partner-endpoint-changed"
    PARTNER_DETAILS_CHANGED = "partner-details-changed"
    CLIENT_REGISTERED = "client-registered"
    CLIENT_REVOKED = "client-revoked"
    CLIENT_TOKENS_ENDED = "client-tokens-ended"
    SIGNING_KEY_ADDED = "signing-key-added"
    TOKEN_REVOKED = "token-revoked"
    SERVICE_REGISTERED = "service-registered"
    SERVICE_STATUS_CHANGED = "service-status-changed"
    OFFERING_PUBLISHED = "offering-published"
    OFFERING_WITHDRAWN = "offering-withdrawn"
    CONTRACT_AGREED = "contract-agreed"
    CONTRACT_STATUS_CHANGED = "contract-status-changed"
    CALL_REFUSED = "call-refused"
    EVSE_CHANGED = "evse-changed"
    EVSE_STATUS_CHANGED = "evse-status-changed"
    CUSTOMER_CONTRACT_CHANGED = "customer-contract-changed"
    EVSP_POLICY_CHANGED = "evsp-policy-changed"
    AUTHORISATION_DECIDED = "authorisation-decided"
    CDR_ACCEPTED = "cdr-accepted"
    CDR_REJECTED = "cdr-rejected"
    CDR_APPROVED = "cdr-approved"
    CDRS_DELIVERED = "cdrs-delivered"
    CDR_DEAD_LETTERED = "cdr-dead-lettered"
    CDRS_ACKNOWLEDGED = "cdrs-acknowledged"
    DELIVERY_PREFERENCE_CHANGED = "delivery-preference-changed"
    PERIOD_CLOSING = "period-closing"
    PERIOD_CLOSED = "period-closed"
    CLEARING_RUN_RECORDED = "clearing-run-recorded"
    STATION_ENROLLED = "station-enrolled"
    OCPP_MESSAGE = "ocpp-message"
    CHARGE_STARTED = "charge-started"
    CHARGE_STOPPED = "charge-stopped"
