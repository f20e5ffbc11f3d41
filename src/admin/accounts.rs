//! The accounts that handlers with logins share: made, listed, changed and removed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::IntoResponse;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::Shared;
use super::body::JsonBody;
use super::extract::{Client, Path, Query};
use super::openapi::{BadBody, Fault, NoAccounts, NotFound, Refused, Unprocessable};
use super::problem::Error;
use super::wire::{List, time};
use crate::accounts::{self, AccountError, Accounts, Changes};

/// How many a list shows if it is not told, and at most.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

pub(super) fn routes() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(list, create)).routes(routes!(one, change, remove))
}

/// An account. Its password is never shown, nor is the hash of it.
#[derive(Debug, Serialize, ToSchema)]
struct Account {
    /// Its name.
    name: String,
    /// What it may hold.
    quota_bytes: u64,
    /// How many bytes a second it may move, where the handler asks: 0 is no limit, null is what the handler says.
    bandwidth_bytes_per_second: Option<u64>,
    /// What it holds: the sizes of its files, and what uploads under way have reserved. Null where they cannot be
    /// counted.
    used_bytes: Option<u64>,
    /// Whether it may change nothing.
    read_only: bool,
    /// Whether it may not log in.
    disabled: bool,
    /// Its folder below `accounts.root`.
    home: String,
    /// When it was made.
    #[schema(format = DateTime)]
    created_at: String,
    /// When somebody last logged in, to the minute.
    #[schema(format = DateTime)]
    last_login_at: Option<String>,
}

/// A new account.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    /// How it is called.
    #[schema(pattern = "^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$")]
    name: String,
    /// 1 to 128 characters.
    #[schema(min_length = 1, max_length = 128)]
    password: String,
    /// Null or not there: `accounts.quota`, whatever that is.
    #[serde(default)]
    quota_bytes: Option<u64>,
    /// 0: no limit. Null or not there: what the handler says.
    #[serde(default)]
    bandwidth_bytes_per_second: Option<u64>,
    /// Whether it may change nothing.
    #[serde(default)]
    read_only: bool,
    /// Whether it may not log in.
    #[serde(default)]
    disabled: bool,
}

/// What to change of an account; what is not there stays.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
struct AccountChanges {
    /// 1 to 128 characters.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = String, min_length = 1, max_length = 128, required = false)]
    password: Option<String>,
    /// Null: `accounts.quota`, whatever that is.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<u64>)]
    quota_bytes: Option<Option<u64>>,
    /// 0: no limit. Null: what the handler says.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = Option<u64>)]
    bandwidth_bytes_per_second: Option<Option<u64>>,
    /// Whether it may change nothing.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = bool, required = false)]
    read_only: Option<bool>,
    /// Whether it may not log in.
    #[serde(deserialize_with = "given")]
    #[schema(value_type = bool, required = false)]
    disabled: Option<bool>,
}

/// What is there is told from what is not, and null is not a value where none is taken.
fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// Which accounts a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Select {
    /// Always `name`.
    #[param(pattern = "^name$")]
    sort: Option<String>,
    /// How many at most, 1 to 1000; 100 if it is not given.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<usize>,
    /// `next_cursor` of the part before.
    cursor: Option<String>,
}

/// The accounts, by name.
#[utoipa::path(
    get, path = "/api/v1/accounts", tag = "accounts", security(("token" = ["read"])), operation_id = "list_accounts", params(Select),
    responses((status = 200, description = "The accounts.", body = List<Account>), Refused, NoAccounts, Fault)
)]
async fn list(State(api): State<Shared>, Query(select): Query<Select>) -> Result<Json<List<Account>>, Error> {
    let accounts = store(&api)?;
    let limit = select.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(Error::BadRequest(format!("limit is from 1 to {MAX_LIMIT}")));
    }
    if select.sort.is_some_and(|sort| sort != "name") {
        return Err(Error::BadRequest("accounts are sorted by name".into()));
    }
    let mut found = accounts.list(select.cursor.as_deref().unwrap_or_default(), limit + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next_cursor = found.last().filter(|_| more).map(|last| last.name.clone());
    let total = usize::try_from(accounts.count().await?).unwrap_or(usize::MAX);
    let mut items = Vec::with_capacity(found.len());
    for account in found {
        items.push(view(&accounts, account).await);
    }
    Ok(Json(List { items, next_cursor, total }))
}

/// One account.
#[utoipa::path(
    get, path = "/api/v1/accounts/{name}", tag = "accounts", security(("token" = ["read"])), operation_id = "get_account",
    params(("name" = String, Path, description = "Its name.")),
    responses((status = 200, description = "The account.", body = Account), Refused, NotFound, NoAccounts, Fault)
)]
async fn one(State(api): State<Shared>, Path(name): Path<String>) -> Result<Json<Account>, Error> {
    let accounts = store(&api)?;
    let account = accounts.find(&name).await?;
    Ok(Json(view(&accounts, account).await))
}

/// Makes an account.
#[utoipa::path(
    post, path = "/api/v1/accounts", tag = "accounts", security(("token" = ["admin"])), operation_id = "create_account",
    request_body = NewAccount,
    responses(
        (status = 201, description = "The account; `Location` leads to it.", body = Account),
        Refused, NoAccounts, Unprocessable, BadBody, Fault,
    )
)]
async fn create(
    State(api): State<Shared>,
    client: Client,
    JsonBody(new): JsonBody<NewAccount>,
) -> Result<impl IntoResponse, Error> {
    let accounts = store(&api)?;
    let changes = Changes {
        password: None,
        quota: new.quota_bytes.map(Some),
        bandwidth: new.bandwidth_bytes_per_second.map(Some),
        read_only: Some(new.read_only),
        disabled: Some(new.disabled),
    };
    let result = accounts.create(&new.name, &new.password, &changes).await;
    audit("create account", &new.name, &client, result.is_ok());
    let account = result?;
    // Names have no character that a header could not carry.
    let location = HeaderValue::from_str(&format!("/api/v1/accounts/{}", account.name));
    let location = location.map_err(|_| Error::Internal)?;
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(view(&accounts, account).await)))
}

/// Changes an account; it takes effect at once, for those who are logged in, too.
#[utoipa::path(
    patch, path = "/api/v1/accounts/{name}", tag = "accounts", security(("token" = ["admin"])), operation_id = "change_account",
    params(("name" = String, Path, description = "Its name.")),
    request_body = AccountChanges,
    responses(
        (status = 200, description = "The account as it is now.", body = Account),
        Refused, NotFound, NoAccounts, Unprocessable, BadBody, Fault,
    )
)]
async fn change(
    State(api): State<Shared>,
    client: Client,
    Path(name): Path<String>,
    JsonBody(new): JsonBody<AccountChanges>,
) -> Result<Json<Account>, Error> {
    let accounts = store(&api)?;
    let changes = Changes {
        password: new.password,
        quota: new.quota_bytes,
        bandwidth: new.bandwidth_bytes_per_second,
        read_only: new.read_only,
        disabled: new.disabled,
    };
    let result = accounts.change(&name, changes).await;
    audit("change account", &name, &client, result.is_ok());
    Ok(Json(view(&accounts, result?).await))
}

/// Removes an account. Its files are moved to `.removed` below `accounts.root`.
#[utoipa::path(
    delete, path = "/api/v1/accounts/{name}", tag = "accounts", security(("token" = ["admin"])), operation_id = "remove_account",
    params(("name" = String, Path, description = "Its name.")),
    responses((status = 204, description = "It is gone."), Refused, NotFound, NoAccounts, Fault)
)]
async fn remove(
    State(api): State<Shared>,
    client: Client,
    Path(name): Path<String>,
) -> Result<StatusCode, Error> {
    let result = store(&api)?.remove(&name).await;
    audit("remove account", &name, &client, result.is_ok());
    result?;
    Ok(StatusCode::NO_CONTENT)
}

fn audit(action: &'static str, account: &str, client: &Client, done: bool) {
    tracing::info!(target: "polygate::audit", action, account, client = %client, done, "{action}");
}

fn store(api: &Shared) -> Result<Arc<Accounts>, Error> {
    let none = "no listener has a handler with accounts, such as json-ftp";
    api.supervisor.accounts().ok_or_else(|| Error::Conflict(none.into()))
}

async fn view(accounts: &Accounts, account: accounts::Account) -> Account {
    let home = accounts.home(&account).await.ok();
    let used = match &home {
        Some(home) => home.counted().await.ok().map(|()| home.usage().used()),
        None => None,
    };
    Account {
        quota_bytes: account.quota.unwrap_or(accounts.default_quota()),
        bandwidth_bytes_per_second: account.bandwidth,
        used_bytes: used,
        read_only: account.read_only,
        disabled: account.disabled,
        home: account.home,
        created_at: time(account.created_at),
        last_login_at: account.last_login_at.map(time),
        name: account.name,
    }
}

impl From<AccountError> for Error {
    fn from(error: AccountError) -> Self {
        let text = error.to_string();
        match error {
            AccountError::Name | AccountError::Password | AccountError::TooLarge => {
                Error::Unprocessable(text, Vec::new())
            }
            AccountError::Exists | AccountError::RegistrationOff => Error::Conflict(text),
            AccountError::NotFound => Error::NotFound(text),
            AccountError::Unavailable(_) => {
                tracing::error!(target: "polygate::accounts", error = %text, "the accounts do not work");
                Error::Internal
            }
        }
    }
}
