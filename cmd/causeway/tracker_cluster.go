package main

import (
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/pflag"

	"github.com/causeway-bt/causeway/tracker/server/cluster"
	"github.com/causeway-bt/causeway/tracker/server/table"
)

// clusterFlags are about several trackers that are one.
type clusterFlags struct {
	url, name, node, secret string
	creds, ca, cert, key    string
}

func (f *clusterFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.url, "cluster", "", "be one tracker with others, by the NATS servers at `URL`, as nats://10.0.0.1:4222 or tls://nats.example, with user:password@ before the host where they want it; several with commas between them")
	flags.StringVar(&f.name, "cluster-name", "causeway", "`NAME` that the cluster's NATS subjects begin with")
	flags.StringVar(&f.node, "cluster-node", "", "this node's `NAME`, unlike all others; one that is the same after a restart has the same torrents (default a random one)")
	flags.StringVar(&f.secret, "cluster-secret", "", "`SECRET` that is the same at all nodes, by which web peers that come back to another one have their peer id at once")
	flags.StringVar(&f.creds, "cluster-creds", "", "credentials of a NATS user in `FILE`")
	flags.StringVar(&f.ca, "cluster-ca", "", "certificates that the NATS servers' must come from in `FILE` (PEM)")
	flags.StringVar(&f.cert, "cluster-cert", "", "certificate for the NATS servers in `FILE` (PEM)")
	flags.StringVar(&f.key, "cluster-key", "", "its key in `FILE` (PEM)")
}

func (f *clusterFlags) check() error {
	if f.url == "" {
		if f.node != "" || f.secret != "" || f.creds != "" || f.ca != "" || f.cert != "" || f.key != "" {
			return usagef("--cluster-node, --cluster-secret, --cluster-creds, --cluster-ca, --cluster-cert and --cluster-key need --cluster URL")
		}
		return nil
	}
	for flag, path := range map[string]string{
		"--cluster-creds": f.creds, "--cluster-ca": f.ca, "--cluster-cert": f.cert, "--cluster-key": f.key,
	} {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); err != nil {
			return usagef("%s: %v", flag, err)
		}
	}
	return nil
}

// joinCluster connects to NATS, if there is to be a cluster.
func (r *trackerRun) joinCluster() (err error) {
	f := &r.flags.cluster
	if f.url == "" {
		return nil
	}
	r.cluster, err = cluster.New(cluster.Config{
		URL: f.url, Name: f.name, Node: f.node,
		Credentials: f.creds, CA: f.ca, Cert: f.cert, Key: f.key, Logger: r.logger(),
	})
	if err != nil {
		return usagef("%v", err)
	}
	return nil
}

// clusterSockets has what other nodes have for web peers of this one get there.
func (r *trackerRun) clusterSockets() {
	if r.cluster == nil {
		return
	}
	r.cluster.OnMessage(func(to table.Handle, message []byte) { r.web.Deliver(to, message) })
	r.cluster.OnProbe(r.web.Probe)
}

// clusterMetrics adds what goes between nodes to /metrics.
func (r *trackerRun) clusterMetrics() {
	if r.cluster == nil {
		return
	}
	counter := func(name, help string, value func(cluster.Status) float64) {
		r.tracker.Stats().Registry().MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "causeway_cluster", Name: name, Help: help,
		}, func() float64 { return value(r.cluster.Status()) }))
	}
	counter("forwarded_total", "Requests that other nodes were asked.", func(s cluster.Status) float64 { return float64(s.Forwarded) })
	counter("served_total", "Requests that were answered for other nodes.", func(s cluster.Status) float64 { return float64(s.Served) })
	counter("timed_out_total", "Requests that no other node answered in time.", func(s cluster.Status) float64 { return float64(s.TimedOut) })
	counter("dropped_total", "Batches that were dropped on their way.", func(s cluster.Status) float64 { return float64(s.Dropped) })
	counter("malformed_total", "Messages that could not be read.", func(s cluster.Status) float64 { return float64(s.Malformed) })
	counter("sent_bytes_total", "Bytes sent to other nodes.", func(s cluster.Status) float64 { return float64(s.BytesOut) })
	counter("received_bytes_total", "Bytes received from other nodes.", func(s cluster.Status) float64 { return float64(s.BytesIn) })
}
