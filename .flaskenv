FLASK_APP=chatapp.cli
