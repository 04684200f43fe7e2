#pragma once
// One operation of the API: where it is, what it takes, what it answers and how.  From the list of
// operations come the router, the strict reading of queries and bodies, and the OpenAPI document,
// so that these cannot disagree.

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "daemon/rest/http_message.hpp"
#include "daemon/rest/query.hpp"
#include "daemon/rest/router.hpp"

namespace paretod {

/// What an operation's handler gets: a request whose query has been checked.
struct Call {
  const HttpRequest& request;
  const PathParameters& path;
  const QueryValues& query;
};

/// A possible answer.  Those that any operation may give (401, 500 ...) are not repeated.
struct Answer {
  int status = 200;
  std::string meaning;
  std::string schema = {};  ///< name in openapi_schemas(); empty: no JSON body
  std::string content_type = "application/json";
};
/// A problem document.
Answer problem_answer(int status, std::string meaning);

struct Operation {
  std::string method;
  std::string pattern;  ///< as in Route
  std::string name;     ///< the operationId
  std::string summary;
  std::vector<QueryField> query = {};
  /// Request header fields that matter beyond the usual ones: name and meaning.
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string body_schema = {};  ///< name in openapi_schemas(); empty: there must be no body
  bool body_required = false;
  std::size_t body_limit = 64 * 1024;
  std::vector<Answer> answers;
  std::function<HttpResponse(const Call&)> handler;
};

/// Reads the query and refuses an unexpected body before the operation's handler runs.
Route make_route(const Operation& operation);

HttpResponse json_response(int status, std::string body);

}  // namespace paretod
