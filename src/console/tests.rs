//! Tests of conversations: what is kept, who is told, and where the bounds are.

use super::*;

fn about(id: u64) -> About {
    About { id, listener: "l".into(), transport: Transport::Tcp, peer: "peer".into() }
}

#[tokio::test]
async fn what_an_operator_says_goes_to_the_handler_and_is_told_to_all() {
    let consoles = Arc::new(Consoles::default());
    let mut talk = consoles.open(about(7)).unwrap();
    talk.say(Speaker::Client, "hello".into());
    assert!(talk.waits());
    let conversation = consoles.find(7).unwrap();
    let mut news = conversation.news();
    let operator = tokio::spawn({
        let conversation = conversation.clone();
        async move { conversation.reply("hi".into()).await }
    });
    let reply = talk.next().await.unwrap();
    assert_eq!(reply.text, "hi");
    assert!(!operator.is_finished(), "not before it is sent");
    talk.confirm(reply);
    assert_eq!(operator.await.unwrap().unwrap().number, 2);
    news.changed().await.unwrap();
    let said: Vec<_> = conversation.after(1).iter().map(|entry| (entry.from, entry.text.clone())).collect();
    assert_eq!(said, [(Speaker::Operator, "hi".to_owned())]);
    assert!(!talk.waits());
}

#[tokio::test]
async fn a_conversation_that_has_ended_can_be_read_and_not_answered() {
    let consoles = Arc::new(Consoles::default());
    let talk = consoles.open(about(1)).unwrap();
    talk.say(Speaker::Client, "bye".into());
    let conversation = consoles.find(1).unwrap();
    drop(talk);
    assert_eq!(conversation.reply("too late".into()).await, Err(NotSent::Ended));
    let state = consoles.find(1).unwrap().state();
    assert!(!state.open && !state.waits && state.entries == 1);
    for id in 2..=1 + ENDED as u64 {
        drop(consoles.open(about(id)));
    }
    assert!(consoles.find(1).is_none(), "only so many are kept");
    assert_eq!(consoles.all().len(), ENDED);
}

#[tokio::test(start_paused = true)]
async fn answers_that_nobody_sends_are_not_queued_without_end() {
    let consoles = Arc::new(Consoles::default());
    let _talk = consoles.open(about(1)).unwrap();
    let conversation = consoles.find(1).unwrap();
    for _ in 0..QUEUE {
        // Given up by whoever waits; the answer is still under way.
        assert_eq!(conversation.reply("x".into()).await, Err(NotSent::Busy));
    }
    let before = tokio::time::Instant::now();
    assert_eq!(conversation.reply("x".into()).await, Err(NotSent::Busy));
    assert_eq!(before.elapsed(), Duration::ZERO, "at once");
}

#[test]
fn what_is_kept_is_bounded() {
    let consoles = Arc::new(Consoles::default());
    let talks: Vec<_> = (0..MOST as u64).map(|id| consoles.open(about(id)).unwrap()).collect();
    assert!(consoles.open(about(MOST as u64)).is_none());
    for n in 0..1000 {
        talks[0].say(Speaker::Client, n.to_string());
    }
    let conversation = consoles.find(0).unwrap();
    let kept = conversation.after(0);
    assert_eq!((kept.len(), kept[0].number, conversation.state().entries), (256, 745, 1000));
    talks[0].say(Speaker::Client, "x".repeat(1 << 20));
    assert_eq!(conversation.after(0).len(), 1);
}
