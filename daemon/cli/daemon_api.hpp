#pragma once
// The daemon's REST interface as the command line sees it: one base URL, one token, one connection
// at a time.  Not thread-safe.
//
// Errors: `unavailable` means that no daemon answers (or that it is starting or stopping);
// anything else is the daemon's own refusal, with its problems.

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "adapters/http/http_client.hpp"
#include "daemon/cli/json_view.hpp"
#include "optimizers/core/result.hpp"

namespace paretod::cli {

class DaemonApi {
 public:
  /// `url` without a trailing slash; an empty token is not sent.
  DaemonApi(HttpClient client, std::string url, std::string token);

  /// Replies have a 2xx status; the path includes the query.
  Result<HttpReply> get(const std::string& path);
  Result<HttpReply> post(const std::string& path, std::string_view body,
                         HttpClient::Headers headers = {});
  Result<HttpReply> stream(const std::string& path, const HttpClient::Sink& sink);
  /// get() of a reply that has to be JSON.
  Result<Json> get_json(const std::string& path);
  Result<Json> json_of(const HttpReply& reply) const;

  /// Items of a paged list (`path` without a query, `items` the name of the array), at most
  /// `limit` (0: all), as one document {"<items>":[...],...}.
  Result<Json> list(const std::string& path, const std::string& items, const std::string& filter,
                    std::size_t limit);

  /// The id of a job from an id, the beginning of one, or "last" for the newest.
  Result<std::string> find_job(const std::string& name);

  [[nodiscard]] const std::string& url() const { return url_; }

 private:
  [[nodiscard]] HttpClient::Headers with_token(HttpClient::Headers headers) const;
  /// What `send` brings, sent again (a request that was refused for haste did nothing) as long as
  /// the daemon asks for a short wait; as an error unless its status is 2xx.
  Result<HttpReply> exchange(const std::function<Result<HttpReply>()>& send) const;

  HttpClient client_;
  std::string url_;
  std::string token_;
};

/// "/v1/jobs/<id>" and what follows it.
std::string job_path(const std::string& job, std::string_view rest = {});

}  // namespace paretod::cli
