//! Tests where a subscriber starts if it requests events that are no longer in memory.

use super::*;

fn id(epoch: u64, seq: u64) -> EventId {
    EventId { epoch, seq }
}

fn event(epoch: u64, seq: u64) -> Item {
    Item::Event {
        id: id(epoch, seq),
        event: Event::message(""),
        others: None,
    }
}

/// The resume point for this request, with an archive that has these items.
fn position(items: &[Item], from: &ResumeFrom) -> ResumePoint<Option<Reached>> {
    resume_point(items, from, false)
}

fn resume_point(
    items: &[Item],
    from: &ResumeFrom,
    wants_presence: bool,
) -> ResumePoint<Option<Reached>> {
    let (archive, mut received) = Archive::new();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let answering = async {
        while let Some(request) = received.recv().await {
            match request {
                ArchiveRequest::Given { id: given, done } => {
                    let known = (given.as_str() == "urn:7").then_some(id(5, 11));
                    done.send(Ok(known)).unwrap();
                }
                ArchiveRequest::UpTo { id, done } => {
                    let mut older = items.iter().filter(|item| item.id() <= id);
                    done.send(Ok(older.next_back().cloned())).unwrap();
                }
                ArchiveRequest::Since { .. } => unreachable!("no test names a time"),
                ArchiveRequest::Read { from, first, done } => {
                    let is_wanted = |item: &&Item| {
                        from.is_none_or(|from| item.id() > from || (first && item.id() == from))
                    };
                    let found = items.iter().filter(is_wanted).cloned().collect();
                    done.send(Ok(found)).unwrap();
                }
            }
        }
        unreachable!("the archive is still there")
    };
    runtime.block_on(async {
        tokio::select! {
            position = archive.resume(from, wants_presence) => position.unwrap(),
            () = answering => unreachable!(),
        }
    })
}

#[test]
fn a_subscriber_that_resumes_receives_a_gap_only_if_events_are_missing() {
    // The events 5-10 to 5-12, then epoch 6, which continues after 5-12, then epoch 8, after a loss of
    // events.
    let items = [
        event(5, 10),
        event(5, 11),
        event(5, 12),
        Item::Begins(id(6, 0), Some(id(5, 12).into())),
        event(6, 1),
        Item::Begins(id(8, 0), None),
        event(8, 1),
    ];
    let gap = |after, reason| (Some(after), Some(reason));
    let epoch = GapReason::Epoch;
    for (received, expected) in [
        (id(5, 10), (Some(id(5, 10)), None)),
        (id(5, 12), (Some(id(5, 12)), None)),
        (id(5, 9), (Some(id(5, 9)), None)),
        (id(6, 0), (Some(id(6, 0)), None)),
        (id(6, 1), (Some(id(6, 1)), None)),
        (id(8, 1), (Some(id(8, 1)), None)),
        (id(5, 6), gap(id(5, 9), GapReason::Evicted)),
        // 5-13 and 6-2 were delivered, and then lost when the next epoch began.
        (id(5, 13), gap(id(6, 0), epoch)),
        (id(6, 2), gap(id(8, 0), epoch)),
        (id(4, 100), gap(id(5, 9), epoch)),
        (id(8, 2), gap(id(5, 9), GapReason::Unknown)),
    ] {
        let ResumePoint {
            cursor: after, gap, ..
        } = position(&items, &received.into());
        let after = after.map(|after| after.id);

        let notify = gap.map(|gap| {
            assert_eq!(gap.requested, received.to_string());
            assert_eq!(gap.resumed_after, after);
            gap.reason
        });
        assert_eq!((after, notify), expected, "{received}");
    }
    let given = GivenId::parse("urn:7").unwrap();
    let given = position(&items, &ResumeFrom::AfterGiven(given));
    assert_eq!((given.cursor.unwrap().id, given.gap), (id(5, 11), None));
    let unknown = GivenId::parse("urn:x").unwrap();
    let unknown = position(&items, &ResumeFrom::AfterGiven(unknown));
    assert_eq!(unknown.cursor.unwrap().id, id(5, 9));
    assert_eq!(unknown.gap.unwrap().reason, GapReason::Unknown);
    let earliest = position(&items, &ResumeFrom::Earliest);
    assert_eq!(
        (earliest.cursor.unwrap().id, earliest.gap),
        (id(5, 9), None)
    );
    assert!(!earliest.is_announced);
}

#[test]
fn missing_presence_events_cause_a_gap_only_for_subscribers_that_may_want_them() {
    let item = |seq, event, others| Item::Event {
        id: id(5, seq),
        event,
        others: Some(others),
    };
    let presence = || Event::of_hub("{}".to_owned());
    // The events 1, 2, 9, 11 and 13 are not presence events. All events between 2 and 9 are presence events,
    // but only 7 and 8 are retained. 10 is an evicted presence event. 12 is a lost event of another kind.
    let items = [
        item(1, Event::message(""), 0),
        item(2, Event::message(""), 1),
        item(7, presence(), 2),
        item(8, presence(), 2),
        item(9, Event::message(""), 2),
        item(11, Event::message(""), 3),
        item(13, Event::message(""), 5),
    ];
    for (received, notify, told_if_wanted) in [
        (1, None, None),
        (2, None, None),
        (4, None, Some(GapReason::Evicted)),
        (6, None, None),
        (7, None, None),
        (10, None, None),
        (11, None, None),
        (12, None, None),
    ] {
        for (wants_presence, expected) in [(false, notify), (true, told_if_wanted)] {
            let received = id(5, received);
            let point = resume_point(&items, &received.into(), wants_presence);

            assert_eq!(point.gap.map(|gap| gap.reason), expected, "{received}");
            assert!(expected.is_some() || point.cursor.unwrap().id == received);
        }
    }

    let missing = |from: usize| items[from + 1].missing_after(items[from].reached());
    let evicted = Some(Missing::Events(GapReason::Evicted));
    let expected = [
        None,
        Some(Missing::Presence),
        None,
        None,
        Some(Missing::Presence),
        evicted,
    ];
    assert_eq!([0, 1, 2, 3, 4, 5].map(missing), expected);
    let continues = |seq, others| {
        let after = Reached {
            id: id(5, seq),
            others: Some(others),
        };
        Item::Begins(id(6, 0), Some(after)).missing_after(items[1].reached())
    };
    let epoch = Some(Missing::Events(GapReason::Epoch));
    assert_eq!(
        [continues(2, 2), continues(7, 2), continues(7, 3)],
        [None, Some(Missing::Presence), epoch]
    );
    let unknown = Reached::from(id(5, 2));
    assert_eq!(items[2].missing_after(unknown), evicted);
}
