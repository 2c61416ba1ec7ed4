// Package utp is the Micro Transport Protocol of BitTorrent (BEP 29).
package utp
