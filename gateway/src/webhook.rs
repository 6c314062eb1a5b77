//! `POST /webhook.php`: the checks in their published order, then the call on disk, then the answer.

use std::sync::Arc;

use callvine_shared::call::{Call, NewCall, RecordingUrl};
use callvine_shared::store::ReceivedCall;
use chrono::{SubsecRound as _, Utc};
use http::header::{HeaderValue, LOCATION};
use http::{Request, StatusCode};
use hyper::body::Incoming;

use crate::answer::{self, Answer};
use crate::rejection::Rejection;
use crate::{Gateway, auth, body};

/// Bytes that are reserved for an answer; most are a little shorter.
const ANSWER_CAPACITY_BYTES: usize = 640;

/// Stores the call that a request carries.
pub(crate) async fn receive(gateway: &Gateway, request: &mut Request<Incoming>) -> Result<Answer, Rejection> {
    let now = Utc::now();
    let key = auth::admit_post(&gateway.keys, request.headers(), now)?;
    let body = body::read(request.body_mut(), gateway.max_body_bytes).await?;
    let call = NewCall::parse(&body)?;
    let received = ReceivedCall {
        client: key.client().clone(),
        env: key.environment(),
        call: Arc::new(call),
        created_at: now.trunc_subsecs(0),
    };
    let call = gateway.intake.store(received).await?;
    Ok(created(&call))
}

fn created(call: &Call) -> Answer {
    let mut body = Vec::with_capacity(ANSWER_CAPACITY_BYTES);
    body.extend_from_slice(br#"{"success":true,"message":"Call log created successfully","data":"#);
    call.write_json(RecordingUrl::AsSent, &mut body);
    body.push(b'}');
    let mut answer = answer::json(StatusCode::CREATED, body);
    if let Ok(location) = HeaderValue::try_from(format!("/calls/{}", call.id)) {
        answer.headers_mut().insert(LOCATION, location);
    }
    answer
}
