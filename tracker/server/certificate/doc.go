// Package certificate has the TLS certificates of a tracker: those of files, which are read
// again when they change, and those that a certificate authority gives by itself (ACME, RFC
// 8555), for names and for bare IP addresses (RFC 8738).
//
//	files, err := certificate.Load("cert.pem", "key.pem")
//	config := files.TLSConfig()
package certificate
