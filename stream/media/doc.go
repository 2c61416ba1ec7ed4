// Package media knows files by their names and containers by their headers:
// which files a player can play, which subtitles belong to which video, what
// MIME type a file is served as, and how long a film lasts.
//
// It decodes nothing, and it asks neither the operating system's MIME tables
// (they differ from machine to machine) nor the file's first bytes.
//
//	i := media.Largest(files)                  // what to play by default
//	subs := media.Subtitles(files, i)          // what goes with it
//	d, err := media.Duration(reader, size, files[i].Path())
//
// Containers: ISO/IEC 14496-12 (MP4, MOV, 3GP) and RFC 9559 over RFC 8794
// (Matroska, WebM).
package media
