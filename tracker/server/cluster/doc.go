// Package cluster joins trackers on several machines to one: each infohash has one
// owner among the nodes that are up, which the others forward what they are asked to.
// Nodes talk over NATS; nothing is stored anywhere.
//
//	c, err := cluster.New(cluster.Config{URL: "nats://10.0.0.1:4222,nats://10.0.0.2:4222"})
//	s, err := server.New(server.Config{Cluster: c.Over})
//	c.OnMessage(deliver) // what other nodes have for sockets of this one
//	defer c.Close()      // says to the others that this node is gone
//
// Members. Each node says once a second that it is there, with its name, when it was
// started (its incarnation) and how long ago that was. A node is gone when 3.5 s pass
// without, or at once when it says so. Of two with one name the one that was started
// last is the member; the other goes on alone. All members sort infohashes into 4096
// slots, and a slot's owner is the member that scores highest for it (rendezvous
// hashing), so that one that comes or goes moves only what it has then or had before.
//
// Requests. What another node owns is asked of it in batches, each sent when it is 2 ms
// old (20 ms in large clusters), has 512 entries or 48 KiB. While members come and go two nodes may disagree about
// who owns a swarm. So a request is forwarded once: who gets it answers it from its
// own table, whoever the owner may be by now. If the node that was asked goes before it has
// answered, the request is put again, once, to the new owner; if it stays and does not
// answer in 5 s, the peer is told to try again in a minute.
//
// Moves. Peers of a swarm that has moved come to its new owner with their next
// announce. Those that the old owner still has are not shown to anyone, unless the swarm
// comes back, and expire. Web peers whose node is gone are dropped at once.
//
// Without NATS, a node hears of no others after 3.5 s and owns everything: it goes
// on alone, with the peers that come to it. When NATS is back, so are the others.
//
// Those who can publish in the NATS account are trusted with the swarms, but not with
// memory or the process: all that they can make grow has a bound, and a message that
// cannot be read is counted and dropped. Whoever knows the names of the members can
// make infohashes that all fall to one of them.
package cluster
