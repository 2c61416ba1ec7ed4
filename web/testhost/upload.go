package testhost

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/causeway-bt/causeway/web"
)

const (
	maxUpload      = 64 << 20
	maxUploadFiles = 20
)

// uploads is the HTTP half of receiving; the other half is the test's to do.
type uploads struct {
	mu   sync.Mutex
	sent map[string]*upload
	// fetch, if set, fetches a torrent that a page seeds; it returns at once.
	fetch func(torrent []byte)
	saved atomic.Bool
}

type upload struct {
	dir   string
	files []web.UploadFile
	got   []int64
}

func (u *uploads) register(mux *http.ServeMux, dir string) {
	u.sent = map[string]*upload{}
	guarded := func(pattern string, handle http.HandlerFunc) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Causeway") != "page" {
				http.Error(w, "only the page itself may send", http.StatusForbidden)
				return
			}
			u.mu.Lock()
			defer u.mu.Unlock()
			handle(w, r)
		})
	}
	guarded("POST /receive/torrent", func(w http.ResponseWriter, r *http.Request) {
		torrent, _ := io.ReadAll(io.LimitReader(r.Body, maxUpload))
		if u.fetch != nil {
			u.fetch(torrent)
		}
		answer(w, web.Receiving{ID: "torrent", State: web.ReceivingWaits})
	})
	guarded("POST /receive/upload", func(w http.ResponseWriter, r *http.Request) {
		var wanted web.Upload
		if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&wanted); err != nil || len(wanted.Files) > maxUploadFiles {
			http.Error(w, "this is not taken", http.StatusBadRequest)
			return
		}
		id := random()
		u.sent[id] = &upload{dir: dir, files: wanted.Files, got: make([]int64, len(wanted.Files))}
		answer(w, web.Receiving{ID: id, State: web.ReceivingWaits})
	})
	guarded("GET /receive/{id}", func(w http.ResponseWriter, r *http.Request) {
		state := web.ReceivingWaits
		if u.saved.Load() {
			state = web.ReceivingSaved
		}
		answer(w, web.Receiving{ID: r.PathValue("id"), State: state})
	})
	guarded("DELETE /receive/{id}", func(http.ResponseWriter, *http.Request) {})
	guarded("GET /receive/{id}/{i}", func(w http.ResponseWriter, r *http.Request) {
		up, i := u.find(r)
		if up == nil {
			http.NotFound(w, r)
			return
		}
		answer(w, web.Receiving{ID: r.PathValue("id"), State: web.ReceivingComes, Received: up.got[i]})
	})
	guarded("PUT /receive/{id}/{i}", func(w http.ResponseWriter, r *http.Request) {
		up, i := u.find(r)
		if up == nil {
			http.NotFound(w, r)
			return
		}
		f, err := os.OpenFile(filepath.Join(up.dir, filepath.Base(up.files[i].Name)), os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			offset, _ := strconv.ParseInt(r.URL.Query().Get("offset"), 10, 64)
			_, _ = f.Seek(offset, io.SeekStart)
			n, _ := io.Copy(f, io.LimitReader(r.Body, up.files[i].Length))
			up.got[i] = offset + n
			err = f.Close()
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	guarded("POST /receive/{id}/done", func(w http.ResponseWriter, r *http.Request) {
		answer(w, web.Receiving{ID: r.PathValue("id"), State: web.ReceivingSaved})
	})
}

func (u *uploads) find(r *http.Request) (*upload, int) {
	up := u.sent[r.PathValue("id")]
	i, err := strconv.Atoi(r.PathValue("i"))
	if up == nil || err != nil || i < 0 || i >= len(up.files) {
		return nil, 0
	}
	return up, i
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		http.Error(w, fmt.Sprint(err), http.StatusInternalServerError)
	}
}
