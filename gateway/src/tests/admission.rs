//! Shares of addresses, which connections from this machine can't show.

use std::net::IpAddr;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::admission::{Admission, Place};
use crate::{ConnectionLimits, TrustedProxies};

fn admission(max: usize, max_per_address: usize) -> Arc<Admission> {
    Admission::new("test", ConnectionLimits { max, max_per_address }, TrustedProxies::default())
}

async fn admit(admission: &Arc<Admission>, client: &str) -> Option<Place> {
    admission.admit(client.parse::<IpAddr>().unwrap(), &CancellationToken::new()).await
}

/// A client in the middle of a request.
async fn admit_busy(admission: &Arc<Admission>, client: &str) -> Option<Place> {
    let place = admit(admission, client).await?;
    place.requests.note_busy();
    Some(place)
}

#[tokio::test]
async fn an_address_gets_no_more_than_its_share() {
    for (first, second, have_one_share) in [
        ("192.0.2.1", "192.0.2.1", true),
        ("192.0.2.1", "::ffff:192.0.2.1", true),
        ("2001:db8::1", "2001:db8::2:3:4:5", true),
        ("192.0.2.1", "192.0.2.2", false),
        ("2001:db8::1", "2001:db8:0:1::1", false),
        ("127.0.0.1", "127.0.0.1", false),
        ("::1", "::1", false),
    ] {
        let admission = admission(10, 1);
        let _place = admit_busy(&admission, first).await.unwrap();
        assert_eq!(admit_busy(&admission, second).await.is_none(), have_one_share, "{first} {second}");
    }
}

#[tokio::test]
async fn an_idle_connection_makes_room_for_another_of_its_address() {
    let admission = admission(10, 2);
    let _other = admit(&admission, "192.0.2.9").await.unwrap();
    let longest = admit(&admission, "192.0.2.1").await.unwrap();
    let busy = admit_busy(&admission, "192.0.2.1").await.unwrap();
    let newcomer = admit_busy(&admission, "192.0.2.1").await.unwrap();
    assert!(longest.end.is_cancelled() && longest.must_be_left_at_once());
    assert!(!busy.end.is_cancelled());
    assert!(admit(&admission, "192.0.2.1").await.is_none(), "the address has its share");
    drop((longest, newcomer));
    assert!(admit(&admission, "192.0.2.1").await.is_some(), "a place is free again");
}

#[tokio::test]
async fn a_connection_that_became_busy_before_it_ended_is_not_cut_off() {
    let admission = admission(10, 1);
    let place = admit(&admission, "192.0.2.1").await.unwrap();
    let _newcomer = admit(&admission, "192.0.2.1").await.unwrap();
    place.requests.note_busy();
    assert!(place.end.is_cancelled() && !place.must_be_left_at_once());
}

#[tokio::test]
async fn loopback_gives_way_once_all_places_are_taken() {
    let admission = admission(3, 1);
    let oldest = admit_busy(&admission, "127.0.0.1").await.unwrap();
    let younger = admit_busy(&admission, "127.0.0.1").await.unwrap();
    let elsewhere = admit_busy(&admission, "192.0.2.1").await.unwrap();
    // As its connection does.
    let leaving = async {
        oldest.end.cancelled().await;
        drop(oldest);
    };
    let (newcomer, ()) = tokio::join!(admit_busy(&admission, "192.0.2.2"), leaving);
    assert!(newcomer.is_some());
    assert!(!younger.end.is_cancelled() && !elsewhere.end.is_cancelled());
}

#[tokio::test]
async fn the_longest_idle_go_first_through_many_looks() {
    let admission = admission(300, 300);
    let mut places = Vec::new();
    for _ in 0..300 {
        places.push(admit(&admission, "192.0.2.1").await.unwrap());
    }
    // One in the middle has been used since.
    places[100].requests.note_busy();
    places[100].requests.note_idle();
    for (order, place) in places.iter().enumerate().filter(|(order, _)| *order != 100) {
        assert!(!place.end.is_cancelled(), "{order}");
        assert!(admission.make_room());
        assert!(place.end.is_cancelled(), "{order}");
    }
    assert!(admission.make_room() && places[100].end.is_cancelled());
    assert!(!admission.make_room(), "nobody is left");
}
