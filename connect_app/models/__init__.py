"""The whole schema, one file per aggregate; each table has one writing package, named in docs/contract.md."""

from connect_app.models.actions import Action, Attempt, Outcome, Receipt
from connect_app.models.alerts import Alert
from connect_app.models.base import Base, Tenant
from connect_app.models.cases import CaseDay, CaseMark, CaseSession
from connect_app.models.events import WebhookEvent, WebhookLane, WebhookPending
from connect_app.models.facts import SessionFact
from connect_app.models.fields import Audience, CatalogueField, CatalogueSurvey, FieldMapping, FirstPurchase
from connect_app.models.flows import Flow, FlowVersion, Offer
from connect_app.models.mirror import Charge, Coupon, Customer, Discount, Invoice, Price, Product, Schedule, Subscription
from connect_app.models.oauth import OauthState
from connect_app.models.outbound import Delivery, DeliveryAttempt, Endpoint
from connect_app.models.pauses import Pause
from connect_app.models.sessions import Answer, Choice, FlowSession, LinkLookup, PortalLink
from connect_app.models.work import Work
from connect_app.models.workspaces import (
    AccountLookup,
    ApiKey,
    ApiKeyLookup,
    AuditEntry,
    Connection,
    EmbedSecret,
    Login,
    Membership,
    Setting,
    User,
    UserLookup,
    Workspace,
)

__all__ = [
    "AccountLookup",
    "Action",
    "Alert",
    "Answer",
    "ApiKey",
    "ApiKeyLookup",
    "Attempt",
    "Audience",
    "AuditEntry",
    "Base",
    "CaseDay",
    "CaseMark",
    "CaseSession",
    "CatalogueField",
    "CatalogueSurvey",
    "Charge",
    "Choice",
    "Connection",
    "Coupon",
    "Customer",
    "Delivery",
    "DeliveryAttempt",
    "Discount",
    "EmbedSecret",
    "Endpoint",
    "FieldMapping",
    "FirstPurchase",
    "Flow",
    "FlowSession",
    "FlowVersion",
    "Invoice",
    "LinkLookup",
    "Login",
    "Membership",
    "OauthState",
    "Offer",
    "Outcome",
    "Pause",
    "PortalLink",
    "Price",
    "Product",
    "Receipt",
    "Schedule",
    "SessionFact",
    "Setting",
    "Subscription",
    "Tenant",
    "User",
    "UserLookup",
    "WebhookEvent",
    "WebhookLane",
    "WebhookPending",
    "Work",
    "Workspace",
]
